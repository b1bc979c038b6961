"""The Python language host for a self-built pulumi.

The official distribution's host is not a published Go module. This one speaks the same protocol
(pulumirpc.LanguageRuntime, from the SDK's own stubs) for what this project uses: running a program
and running plugins (dynamic providers, policy packs). An official pulumi brings its own host.
"""
