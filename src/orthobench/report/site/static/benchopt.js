/* What Benchopt's own page needs of ours: its data come as a script, so that the page works from a disk. */
"use strict";

window.orthobench = { receive: (key, value) => { window.orthobench.plots = value; } };
