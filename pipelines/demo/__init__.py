"""The demo: four datasets in four real schemas, built from text that is on this machine."""
