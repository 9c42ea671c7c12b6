#!/bin/sh
# Stands in for the OSDC fork's rpc-server: its arguments are davit's with --compat osdc.
for davit in /opt/davit/davit /__e/davit; do
  [ -x "$davit" ] && exec "$davit" hook serve --compat osdc "$@"
done
echo "rpc-server: davit is neither at /opt/davit/davit nor at /__e/davit" >&2
exit 127
