"""Slurm: a batch script that runs the image by Apptainer, hands on the signal, and requeues what a retry can cure."""

from __future__ import annotations

import shlex

from kolora.batch.jobs.job import CPUS, HOURS, MEMORY_GIB, RETRIES, RETRYABLE, STORIES, Files, Job

OUT, CACHE = "/scratch/kolora/out", "/scratch/kolora/cache"
"""Folders that the nodes share."""
_WARNING_SECONDS = 60
"""Between the signal and the end of the job's time; Slurm may send it up to a minute early (sbatch(1))."""

_SCRIPT = """\
#!/bin/bash
# sbatch job.sbatch, in this folder
#SBATCH --job-name={name}
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task={cpus}
#SBATCH --mem={memory}G
#SBATCH --time={hours}:00:00
#SBATCH --signal=B:TERM@{warning}
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
{array}
# The signal comes to this script alone; the first wait ends with it, the second with kolora.
trap '[ -z "$!" ] || kill -TERM "$!"' TERM
apptainer run --nv --bind {binds} \\
    {variables}{image} {arguments} &
kolora=$!
wait "$kolora"
code=$?
if kill -0 "$kolora" 2> /dev/null; then
    wait "$kolora"
    code=$?
fi

case $code in
    {codes})
        if [ "${{SLURM_RESTART_COUNT:-0}}" -lt {retries} ]; then
            scontrol requeue "$SLURM_JOB_ID" && exit 0
        fi ;;
esac
exit "$code"
"""


def emit(job: Job) -> Files:
    """Write ``job.sbatch``; the stories lie beside it, in the folder it is submitted from."""
    binds = shlex.quote(f"{job.out}:/out,{job.cache}:/cache")
    if job.texts:
        binds += f',"$SLURM_SUBMIT_DIR"/stories:{STORIES}:ro'
    script = _SCRIPT.format(
        name=job.name,
        cpus=CPUS,
        memory=MEMORY_GIB,
        hours=HOURS,
        warning=_WARNING_SECONDS,
        array=f"#SBATCH --array=0-{job.tasks - 1}\n" if job.tasks > 1 else "",
        binds=binds,
        variables="".join(f"--env {shlex.quote(f'{name}={value}')} " for name, value in job.variables.items()),
        image=shlex.quote(f"docker://{job.image}"),
        arguments=job.line().removeprefix("kolora "),
        codes=" | ".join(map(str, RETRYABLE)),
        retries=RETRIES,
    )
    return {"job.sbatch": script, **{f"stories/{name}": text for name, text in job.texts.items()}}
