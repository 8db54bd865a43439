"""The boundary: a solver's code runs in a process of its own, the stand, and the bench asks it questions.

`wire` is what they say to each other, `server` starts and ends stands, `bench` asks, `roles` answer; `thin` reads a
solver's file without running it, `cells` are what Benchopt sees in its place, `clocks` judge what a stand says of time,
`confine` is what the system keeps from it. docs/cell.md follows a cell through them.
"""
