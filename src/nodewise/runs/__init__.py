"""Where jobs and engines meet: a run starts a cluster, carries jobs out on it, meters and keeps what happened."""
