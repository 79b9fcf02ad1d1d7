// Runs long work in slices, between which the event loop turns: work over a large state must not block a process.
//
// Used by state-comparison.js, snapshot.js and frozen-later.js. All nodes of a thread share one event loop, and so
// they share this: one slice at a time, and a pause after each.

'use strict'

const { now, setImmediate, setTimeout } = require('./environment')

/** One slice, in milliseconds; what the application does takes turns with it. */
const SLICE_MS = 4
/** Work that nothing waits for takes a fifth of the time. */
const PAUSE_MS = 16

/** Work in progress, in the order of its next slices: `{ job, isUrgent }`. */
const queue = []
let isScheduled = false

/**
 * Runs a job until it is complete.
 *
 * @param job `run(end)` works until about the time `end` and returns whether it is complete. It must not throw.
 * @param isUrgent something waits for it: there is no pause between its slices.
 */
function runInBackground(job, isUrgent = false) {
  queue.push({ job, isUrgent })
  schedule()
}

/** The job does not run any more. */
function cancel(job) {
  const place = queue.findIndex(entry => entry.job === job)
  if (place !== -1) queue.splice(place, 1)
}

function schedule() {
  if (isScheduled || queue.length === 0) return
  isScheduled = true
  // With a random part, because the nodes of a cluster begin a comparison at the same moment.
  if (queue[0].isUrgent) setImmediate(runSlice)
  else setTimeout(runSlice, PAUSE_MS * (0.5 + Math.random())).unref()
}

function runSlice() {
  isScheduled = false
  const entry = queue.shift()
  if (entry === undefined) return
  if (!entry.job.run(now() + SLICE_MS)) {
    // Urgent work first: a call waits for it.
    if (entry.isUrgent) queue.unshift(entry)
    else queue.push(entry)
  }
  schedule()
}

module.exports = { SLICE_MS, cancel, runInBackground }
