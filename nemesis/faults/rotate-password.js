/** The fault: every process's password changes, and the connections that used the former one end. */
'use strict'

async function strike({ cluster, note }) {
  await cluster.network.rotatePasswords()
  note({})
}

module.exports = { name: 'rotate-password', strike, touchesNetwork: true, channels: ['redis'] }
