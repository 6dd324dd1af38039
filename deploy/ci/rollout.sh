#!/bin/sh
# Rolls an image out to one service and ends with skep's exit code.
#
#   deploy/ci/rollout.sh SERVICE IMAGE [TIMEOUT]
#
# Runs on a manager, or anywhere with SKEP_HOST=tcp://MANAGER,MANAGER,… and, in SKEP_TOKEN, what this printed:
#   skep token create --role deploy --service SERVICE --image REPOSITORY ci
set -eu

[ $# -ge 2 ] && [ $# -le 3 ] || {
    echo "usage: $0 SERVICE IMAGE [TIMEOUT]" >&2
    exit 64
}
service=$1
image=$2

code=0
skep service update --image "$image" --timeout "${3:-5m}" --output lines \
    --reason "rollout.sh by $(id -un)" "$service" || code=$?
case $code in
    0) echo "$service runs $image" ;;
    10) echo "rolled back: $image failed, the version before runs" ;;
    11) echo "paused: skep rollout resume $service, or skep rollout undo $service" ;;
    12) echo "not in time; it goes on: skep rollout status $service" ;;
    13) echo "no node can take its tasks" ;;
    14) echo "superseded by a later rollout" ;;
    15) echo "refused, nothing was changed" ;;
    16) echo "the cluster does not answer" ;;
    *) echo "skep ended with $code" ;;
esac
exit "$code"
