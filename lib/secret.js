// Checks a secret: the option `channel.secret`, and the argument of `setSecret`.
//
// Called by options.js, node.js and channel-warnings.js. No message may contain a secret.

'use strict'

const { Buffer } = require('./environment')
const errors = require('./errors')
const { suggestion } = require('./suggestion')

const ID_BYTES_MAX = 64

/** 128 bits, if they are random. What is shorter can be guessed from one recorded frame. */
const SECRET_BYTES_MIN = 16

const KEY_FIELDS = ['id', 'secret']

/** The key ring `[{ id?, secret }, …]` that a string or a ring stands for; reports what is wrong with it. */
function checkSecret(value, path, faults) {
  if (typeof value === 'string') return [{ secret: text(value, path, faults) }]
  if (!Array.isArray(value) || value.length === 0) {
    faults.push(`${path} must be a non-empty string, or a list of keys: [{ id, secret }, …]`)
    return value
  }
  const ids = new Set()
  return value.map((key, index) => checkKey(key, `${path.slice(0, -1)}[${index}]`, ids, faults))
}

/** @param path without the quotation mark at its end. */
function checkKey(key, path, ids, faults) {
  if (typeof key !== 'object' || key === null || Array.isArray(key)) {
    faults.push(`${path}" must be an object: { id, secret }`)
    return key
  }
  for (const field of Object.keys(key)) {
    if (!KEY_FIELDS.includes(field)) {
      faults.push(`${path}.${field}" is unknown${suggestion(field, KEY_FIELDS)}`)
    }
  }
  // Read once: it may be a getter.
  const { id, secret } = key
  text(id, `${path}.id"`, faults)
  if (typeof id === 'string' && Buffer.byteLength(id) > ID_BYTES_MAX) {
    faults.push(`${path}.id" must have at most ${ID_BYTES_MAX} bytes`)
  }
  if (ids.has(id)) faults.push(`${path}.id" is the id of another key, too`)
  ids.add(id)
  return { id, secret: text(secret, `${path}.secret"`, faults) }
}

function text(value, path, faults) {
  if (typeof value !== 'string' || value === '' || !value.isWellFormed()) {
    faults.push(`${path} must be a non-empty string`)
  }
  return value
}

/** The ring for `setSecret`. Throws `ERR_CONFLUX_INVALID_ARGUMENT` with all faults. */
function ringOf(value) {
  const faults = []
  const ring = checkSecret(value, '"secret"', faults)
  if (faults.length > 0) throw errors.invalidArgument(faults.join(', '))
  return ring
}

/** What to warn of: `{ code, message, bytes }`, or undefined. */
function weakSecretWarning(ring) {
  const bytes = Math.min(...ring.map(({ secret }) => Buffer.byteLength(secret)))
  if (bytes >= SECRET_BYTES_MIN) return undefined
  return {
    code: 'WARN_CONFLUX_WEAK_SECRET',
    message:
      `a secret of ${bytes} bytes can be guessed from one recorded frame: use at least ${SECRET_BYTES_MIN} random ` +
      'bytes, for example the output of `openssl rand -base64 32`',
    bytes
  }
}

module.exports = { checkSecret, ringOf, weakSecretWarning }
