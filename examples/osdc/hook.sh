#!/bin/sh
# ACTIONS_RUNNER_CONTAINER_HOOKS of the runner. It must end in .sh, and its path must have no spaces.
exec /home/runner/externals/davit hook wrap -- \
  /home/runner/externals/node20/bin/node /opt/runner-hooks/dist/index.js
