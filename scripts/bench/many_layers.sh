#!/usr/bin/env bash
# Makes DIR/many, an OCI layout with a tag 1: files of this machine's /usr in layers of about 100 MB each, until
# they are MEGABYTES together. Usage: many_layers.sh DIR MEGABYTES
set -euo pipefail
cd "$1"
find /usr -xdev \( -type f -o -type l \) -printf '%P\t%s\n' | sort | awk -F'\t' -v limit="$2" '
  sum >= 100e6 { sum = 0; layer++ }
  layer * 100 >= limit { next } # not exit: sort would die of SIGPIPE
  { sum += $2; print $1 > sprintf("list-%03d", layer) }'

umoci init --layout many
umoci new --image many:1
for list in list-*; do
  # A file that changes or cannot be read while it is packed does not matter here.
  tar -C /usr --transform 's,^,usr/,S' -cf layer.tar -T "$list" 2>/dev/null || true
  umoci raw add-layer --image many:1 layer.tar
  rm layer.tar "$list"
done
umoci config --image many:1 --architecture "$(dpkg --print-architecture)" --os linux
