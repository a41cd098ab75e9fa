"""Places of emulated nodes on this machine: control groups and network namespaces, made, limited, entered, removed."""
