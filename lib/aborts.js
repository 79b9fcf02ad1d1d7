// Notifies pending calls that their `AbortSignal` was aborted.
//
// Called by whatever holds calls that can be aborted. One signal may be given to thousands of them: it has one listener,
// and only while a call waits.

'use strict'

/** Per signal, the listener and what it calls. */
const entries = new WeakMap()

/** `waiter.aborted(signal)` is called when it is aborted. Throws what the signal throws. */
function listen(signal, waiter) {
  const entry = entries.get(signal)
  if (entry !== undefined) {
    entry.waiters.add(waiter)
    return
  }
  const waiters = new Set([waiter])
  const listener = () => {
    entries.delete(signal)
    for (const waiter of [...waiters]) waiter.aborted(signal)
  }
  signal.addEventListener('abort', listener, { once: true })
  entries.set(signal, { listener, waiters })
}

/** The waiter no longer waits. */
function unlisten(signal, waiter) {
  const entry = entries.get(signal)
  if (entry === undefined || !entry.waiters.delete(waiter) || entry.waiters.size > 0) return
  entries.delete(signal)
  try {
    signal.removeEventListener('abort', entry.listener)
  } catch {
    // The signal is not one of Node, and had no listener.
  }
}

/** Why the signal was aborted. It never throws. */
function reasonOf(signal) {
  try {
    return signal.reason
  } catch {
    return undefined
  }
}

module.exports = { listen, reasonOf, unlisten }
