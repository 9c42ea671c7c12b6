/**
 * The script that provisions where a spec asks for sshd and brings no script of its own. It may run again after it
 * was interrupted, and does nothing where sshd is in the image already.
 *
 * @module
 */

/** What stands for a path where the packaged script is meant. */
export const PACKAGED = "packaged default";

/** What stands for its hash. */
export const PACKAGED_HASH = "packaged";

/** See the module's description; POSIX sh, as not every image has bash. */
export const DEFAULT_SETUP = `#!/bin/sh
# Installs openssh-server where it is missing.
set -eu
if command -v sshd >/dev/null 2>&1 || [ -x /usr/sbin/sshd ]; then
  echo "sshd is there"
  exit 0
fi
if command -v apt-get >/dev/null 2>&1; then
  export DEBIAN_FRONTEND=noninteractive
  apt-get update
  apt-get install -y --no-install-recommends openssh-server
elif command -v dnf >/dev/null 2>&1; then
  dnf install -y openssh-server
elif command -v microdnf >/dev/null 2>&1; then
  microdnf install -y openssh-server
elif command -v zypper >/dev/null 2>&1; then
  zypper --non-interactive install openssh-server
elif command -v apk >/dev/null 2>&1; then
  apk add --no-cache openssh-server
else
  echo "sshd is missing, and so are apt-get, dnf, microdnf, zypper and apk; use an image with openssh-server, or setup_script" >&2
  exit 1
fi
if ! command -v sshd >/dev/null 2>&1 && ! [ -x /usr/sbin/sshd ]; then
  echo "the package openssh-server is installed, but there is no sshd" >&2
  exit 1
fi
`;
