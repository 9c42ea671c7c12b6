# RUNNER is the runner image that you have now; davit is the portable file for its architecture.
ARG RUNNER
FROM ${RUNNER}
COPY --chmod=755 davit hook.sh /home/runner/externals/
