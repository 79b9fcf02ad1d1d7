/**
 * An authority that issues certificates for the nodes of a test.
 */
'use strict'

const { generate } = require('selfsigned')

const DNS_NAME = 2
const MINUTE_MS = 60_000
const ALGORITHM = { keyType: 'ec', curve: 'P-256', algorithm: 'sha256' }

class Authority {
  #key

  static async create(name) {
    const authority = new Authority()
    const { cert, private: key } = await generate([{ name: 'commonName', value: name }], {
      ...ALGORITHM,
      ...validity(60 * MINUTE_MS),
      extensions: [
        { name: 'basicConstraints', cA: true, critical: true },
        { name: 'keyUsage', keyCertSign: true, cRLSign: true, critical: true }
      ]
    })
    authority.#key = key
    /** The PEM text of its own certificate. */
    authority.cert = cert
    return authority
  }

  /** `{ cert, key }` as PEM texts, good for a server and for a client, for so many milliseconds. */
  async issue(name, lifetime = 60 * MINUTE_MS) {
    const { cert, private: key } = await generate([{ name: 'commonName', value: name }], {
      ...ALGORITHM,
      ...validity(lifetime),
      ca: { key: this.#key, cert: this.cert },
      extensions: [
        { name: 'basicConstraints', cA: false, critical: true },
        { name: 'extKeyUsage', serverAuth: true, clientAuth: true },
        { name: 'subjectAltName', altNames: [{ type: DNS_NAME, value: name }] }
      ]
    })
    return { cert, key }
  }
}

/** A certificate counts whole seconds, and a clock may be a little behind. */
function validity(lifetime) {
  const now = Date.now()
  return { notBeforeDate: new Date(now - MINUTE_MS), notAfterDate: new Date(now + lifetime) }
}

module.exports = { Authority }
