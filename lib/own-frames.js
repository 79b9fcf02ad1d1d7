// Knows which frames of a stack are conflux's own.
//
// Called by evaluation.js and namesakes.js. In a bundle a file holds the application, too: there no frame is known to be
// conflux's own.

'use strict'

/** The folder of lib/, as it stands in stacks; undefined in a bundle. */
const OWN_FOLDER =
  typeof __filename === 'string' && /[\\/]lib[\\/]own-frames\.js$/.test(__filename) ? __dirname : undefined

/** The frames of the application: those below are conflux's own. */
function framesOfApplication(stack) {
  const own = OWN_FOLDER === undefined ? -1 : stack.indexOf(OWN_FOLDER)
  return own === -1 ? stack : stack.slice(0, stack.lastIndexOf('\n', own))
}

/** `at main (app.js:3:14)`: who called `entry`, from outside of conflux; or undefined. */
function placeOfCaller(entry) {
  const limit = Error.stackTraceLimit
  try {
    Error.stackTraceLimit = 10
    const site = {}
    Error.captureStackTrace(site, entry)
    const frames = String(site.stack).match(/\n\s+at .*/g) ?? []
    const isOwn = frame => OWN_FOLDER !== undefined && frame.includes(OWN_FOLDER)
    return frames.find(frame => !isOwn(frame))?.trim()
  } catch {
    // Traces are replaced or forbidden.
    return undefined
  } finally {
    if (Error.stackTraceLimit !== limit) Error.stackTraceLimit = limit
  }
}

module.exports = { framesOfApplication, placeOfCaller }
