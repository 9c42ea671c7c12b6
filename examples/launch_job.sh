#!/usr/bin/env bash
# Imports an image on the login node, where no GPU waits for it, and starts a job in it.
# Usage: launch_job.sh IMAGE COMMAND [ARGUMENT ...]     e.g. launch_job.sh nvcr.io/nvidia/pytorch:25.01-py3 nvidia-smi
set -euo pipefail

image=$1
shift
images=${IMAGES:-/shared/images}

# The name that older scripts give the file, so that what they imported is found.
file=$(davit image path "docker://$image" --dir "$images")

# A hit costs 0.1 s. The path that is printed is the one to use: with on_lock_timeout private it is another.
file=$(davit image import "docker://$image" --output "$file" --mkdir)

exec srun --container-image="$file" "$@"
