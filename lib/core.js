// Prepares the core of a node: its options, and the functions that the addon calls.
//
// Called by node.js, which may open the core later than it prepares it.

'use strict'

const { askedOf } = require('./asked')
const { CustomChannel } = require('./custom-channel')
const errors = require('./errors')
const { nativeOptions } = require('./native-options')
const { joinOfSocketIO } = require('./socket-io-channel')

/**
 * Returns a function that opens the core. Both throw the error of an option that cannot be used.
 *
 * @param open what `binding.js` exports.
 * @param callbacks `deliver(text, beside)`, and those of `CustomChannel`.
 */
function prepareCore(options, open, callbacks) {
  const text = nativeOptions(options)
  const asked = askedOf(options.channel)
  const join = joinOf(options.channel)
  const channel = join && new CustomChannel(join, callbacks)
  return () => {
    try {
      const native = open(text, callbacks.deliver, asked, channel?.notify)
      // It is notified in a later turn of the event loop.
      if (channel !== undefined) channel.native = native
      return native
    } catch (error) {
      throw errors.notOpened(error)
    }
  }
}

function joinOf(channel) {
  return channel.name === 'socket.io' ? joinOfSocketIO(channel) : channel.join
}

module.exports = { prepareCore }
