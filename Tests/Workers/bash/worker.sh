#!/usr/bin/env bash
# A worker in Bash, for a task key with `wire: envelope`. Needs amqp-tools and jq.
# Usage: worker.sh TASK COMMAND [ARGUMENT…]      COMMAND: payload on stdin, result on stdout, exit status = outcome
set -euo pipefail
export TASKBRIDGE_AMQP_URL=${TASKBRIDGE_AMQP_URL:-amqp://guest:guest@127.0.0.1:5672/%2f}

if [[ $1 != --one ]]; then
  task=$1 && shift
  # The queue appears with the first run of the task; the broker may go and come back.
  while true; do
    amqp-consume -u "$TASKBRIDGE_AMQP_URL" -q "taskbridge.run.$task" -p 1 -- "$0" --one "$@" || true
    sleep 0.5
  done
fi

shift # --one: amqp-consume calls us with a message on stdin and acknowledges it when we exit with 0.
message=$(cat)
errors=$(mktemp) && trap 'rm -f "$errors"' EXIT

report() { # report JSON: adds the token and sends it
  jq -c --argjson report "$1" '{token} + $report' <<<"$message" |
    amqp-publish -u "$TASKBRIDGE_AMQP_URL" -r "$(jq -r .reply_to <<<"$message")" -p
}

if output=$(jq -c .payload <<<"$message" | "$@" 2>"$errors"); then
  report "$(jq -n --arg text "$output" '{state: "completed", result: ($text | try fromjson catch $text)}')"
else
  status=$?
  # Status 65 is EX_DATAERR of sysexits.h: the input is wrong and stays wrong.
  report "$(jq -n --arg text "$(tail -c 2000 "$errors")" --argjson status "$status" \
    '{state: "failed", error: {type: "exit \($status)", message: $text, retryable: ($status != 65)}}')"
fi
