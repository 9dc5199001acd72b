"""Questions that need runs of their own: Table 5, the kernel, the harness itself."""
