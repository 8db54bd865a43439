/* Let Grid.js compute all its steps each time. It marks the results of all as kept when it is through, also of those
   that joined meanwhile (the search, the pages), and would show an error in the place of the rows. */
"use strict";

(() => {
  const pipeline = Object.getPrototypeOf(new gridjs.Grid({ columns: ["-"], data: [] }).config.pipeline);
  const { process } = pipeline;
  pipeline.process = function (data) {
    this.clearCache();
    return process.call(this, data);
  };
})();
