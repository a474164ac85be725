#!/bin/sh
# One run on several machines, a process on each:
#   sbatch --nodes=4 scripts/slurm_hosts.sh task=breakout strategy=openai_es
# Slurm sends SIGUSR1 two minutes before the limit to all of them; they save and exit with 75, as they do when a machine or a
# process is lost. The job is queued again, and the very same command goes on in the same folder, which all machines share.
#SBATCH --job-name=esrun
#SBATCH --nodes=2
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=4
#SBATCH --time=04:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append

folder=outputs/${SLURM_JOB_NAME:-esrun}-${SLURM_JOB_ID:-0}
srun --ntasks-per-node=1 --kill-on-bad-exit=0 esrun "$@" runtime.hosts=auto hydra.run.dir="$folder" resume=auto
code=$?
# srun's code is the largest of all: beside those that ended with 75, one that was killed has more than 128
if [ "$code" -gt 128 ] && [ "${SLURM_RESTART_COUNT:-0}" -lt 10 ] && ls "$folder"/checkpoints/*.safetensors >/dev/null 2>&1; then
    code=75
fi
if [ "$code" -eq 75 ]; then
    scontrol requeue "${SLURM_JOB_ID}"
fi
exit "$code"
