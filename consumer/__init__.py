"""The consumer: a KCL application that turns a stream of ticks into rows, archives and alerts."""
