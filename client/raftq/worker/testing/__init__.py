"""`app.testing()`: an App on a cluster in memory, whose worker and clock a test drives by hand.

Owns what a test does with tasks: run them, fail them, kill their worker, look at what was enqueued.
The cluster itself, the real queue machine behind the real client, is `raftq.testing.memory`; this
package knows only its face (`access.MemoryCluster`) and loads it when a test begins.
"""
