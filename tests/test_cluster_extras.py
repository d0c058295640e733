"""What a scheduler of jobs is told: wants dask-jobqueue and dask-kubernetes, but neither Slurm nor Kubernetes."""

import pytest

from leukonb.runs import cluster

pytestmark = pytest.mark.extras


def test_slurm_is_told_what_the_settings_say(monkeypatch):
    import dask_jobqueue

    asked = {}
    monkeypatch.setattr(dask_jobqueue.SLURMCluster, "adapt", lambda self, **words: asked.update(words))
    settings = {"memory": "4 GB", "queue": "night", "walltime": "01:00:00", "protocol": "tcp://"}
    place = cluster.Place("slurm", workers=3, bind="127.0.0.1", config=settings)
    started = cluster._slurm(place, None)
    try:
        script = started[0].job_script()
    finally:
        started[0].close()
    assert "#SBATCH -p night" in script and "#SBATCH -t 01:00:00" in script and "--mem=4G" in script
    assert asked == {"minimum_jobs": 3, "maximum_jobs": 3}


def test_kubernetes_is_told_what_the_settings_say(monkeypatch):
    import dask_kubernetes.operator as operator

    monkeypatch.setattr(operator, "KubeCluster", dict)
    place = cluster.Place("kubernetes", workers=2, config={"image": "leukonb:1", "name": "cells"})
    (told,) = cluster._kubernetes(place, None)
    assert told["n_workers"] == 2 and told["image"] == "leukonb:1" and told["name"] == "cells"
