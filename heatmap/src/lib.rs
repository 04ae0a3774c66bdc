//! Heat of physical memory: accesses counted per 4 KiB page of every 2 MiB block.
