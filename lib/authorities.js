// Reads the certificates that Node's own TLS trusts and passes them to the addon, which has its own TLS.

'use strict'

const fs = require('node:fs')
const tls = require('node:tls')
const { process } = require('./environment')

/** The files in which operating systems keep the certificates that they trust. */
const SYSTEM_FILES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/ssl/cert.pem'
]

/** Certificates in PEM; undefined if this channel checks no server by them. */
function authoritiesOf({ name, connectionString, tls: given }) {
  if (name !== 'redis' || given?.ca !== undefined) return undefined
  const isTls = connectionString === undefined ? given !== undefined : connectionString.startsWith('rediss:')
  return isTls ? trusted() : undefined
}

function trusted() {
  if (hasFlag('--use-openssl-ca')) return [...system(), ...extra()]
  // From Node 22.15 on; it knows about --use-system-ca and NODE_EXTRA_CA_CERTS, too.
  if (tls.getCACertificates !== undefined) return tls.getCACertificates('default')
  return [...tls.rootCertificates, ...extra()]
}

function hasFlag(flag) {
  return [...process.execArgv, ...(process.env.NODE_OPTIONS ?? '').split(/\s+/)].includes(flag)
}

function extra() {
  return certificatesOf(process.env.NODE_EXTRA_CA_CERTS)
}

function system() {
  if (process.env.SSL_CERT_FILE) return certificatesOf(process.env.SSL_CERT_FILE)
  return certificatesOf(SYSTEM_FILES.find(file => fs.existsSync(file)))
}

function certificatesOf(file) {
  if (!file) return []
  try {
    return (
      fs.readFileSync(file, 'utf8').match(/-----BEGIN CERTIFICATE-----[^]*?-----END CERTIFICATE-----/g) ?? []
    )
  } catch {
    // Node itself warns about such a file.
    return []
  }
}

module.exports = { authoritiesOf }
