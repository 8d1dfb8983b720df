"""One file per stage."""

from cluster.compiled import prepare

prepare()
