#!/bin/sh
# Start a sweep, or go on with it when its folder holds one: deploy/sweep.sh FOLDER [key=value …]
# A job that was preempted is started again with the same words, so the same command has to do both.
set -eu
folder=$1
shift
if [ -e "$folder/multirun.yaml" ]; then
  exec python -m safe_exp.train -m "resume_sweep=$folder" # with the settings that it was started with
fi
exec python -m safe_exp.train -m "hydra.sweep.dir=$folder" "$@"
