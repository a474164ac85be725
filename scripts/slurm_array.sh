#!/bin/sh
# A Slurm array of seeds that survives time limits and pre-emption:
#   sbatch --array=0-9 scripts/slurm_array.sh task=breakout strategy=openai_es
# Slurm sends SIGUSR1 two minutes before the limit; esrun saves and exits with 75, the job is queued again, and the very same
# command goes on in the same folder.
#SBATCH --job-name=esrun
#SBATCH --gpus=1
#SBATCH --cpus-per-task=4
#SBATCH --time=04:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append

folder=outputs/${SLURM_JOB_NAME:-esrun}-${SLURM_ARRAY_JOB_ID:-0}/${SLURM_ARRAY_TASK_ID:-0}
srun esrun "$@" seed="${SLURM_ARRAY_TASK_ID:-0}" hydra.run.dir="$folder" resume=auto
code=$?
if [ "$code" -eq 75 ]; then
    scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
fi
exit "$code"
