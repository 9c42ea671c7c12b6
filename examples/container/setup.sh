#!/usr/bin/env bash
# Runs once in each new container, without input; its failure leaves the container not ready. It may run again after
# it was interrupted.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install -y --no-install-recommends openssh-server openmpi-bin
