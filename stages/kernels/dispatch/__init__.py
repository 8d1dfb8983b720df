"""Which version of a kernel computes, and where its arrays lie."""
