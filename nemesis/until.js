/** Waits for conditions. */
'use strict'

/** Resolves when `holds()`; rejects, naming what was awaited, if that takes too long. */
async function until(what, holds, patience = 30_000) {
  const deadline = performance.now() + patience
  while (!(await holds())) {
    if (performance.now() > deadline)
      throw new Error(`timed out after ${patience / 1000} s waiting for ${what}`)
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}

module.exports = { until }
