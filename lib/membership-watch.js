// Finds changes of the membership for subscribers of `conflux:membership` and for the log.
//
// Called by delivery-target.js when the core has delivered something. The core delivers no changes of members, so
// they are read from the status; without a subscriber or a log, that costs a read of one property.

'use strict'

const diagnostics = require('./diagnostics')
const { clearTimeout, setTimeout } = require('./environment')

const PERIOD_MS = 250

class MembershipWatch {
  #handle
  #log
  #members = null
  #timer = undefined
  #look = () => {
    this.#timer = undefined
    this.#compare()
    this.check()
  }

  constructor(handle, log) {
    this.#handle = handle
    this.#log = log
  }

  /**
   * Begins to read the members at intervals, as long as there is a subscriber or a log. It keeps no process alive.
   */
  check() {
    if (this.#timer !== undefined || !(diagnostics.membership.hasSubscribers || this.#log.isOn)) return
    this.#timer = setTimeout(this.#look, PERIOD_MS).unref()
  }

  end() {
    if (this.#timer !== undefined) clearTimeout(this.#timer)
    // Nothing reads the members any more.
    this.#timer = null
  }

  #compare() {
    const { id, members } = this.#handle.status()
    const former = this.#members
    // A node that has lost its place in a cluster knows no members.
    if (members.length === 0) return
    this.#members = members
    const change = changeOf(former ?? [], members)
    if (change === null) return
    if (diagnostics.membership.hasSubscribers) {
      diagnostics.membership.publish({ node: this.#handle, id, members, ...change })
    }
    this.#log.write('info', describe(change), { event: 'membership', ...change })
  }
}

/** The ids of the members that came, left, or gained or lost a vote; null if there are none. */
function changeOf(former, members) {
  const before = new Map(former.map(member => [member.incarnation, member]))
  const after = new Map(members.map(member => [member.incarnation, member]))
  const idsOf = list => list.map(member => member.id)
  const change = {
    joined: idsOf(members.filter(({ incarnation }) => !before.has(incarnation))),
    left: idsOf(former.filter(({ incarnation }) => !after.has(incarnation))),
    promoted: idsOf(members.filter(one => one.voter && before.get(one.incarnation)?.voter === false)),
    demoted: idsOf(members.filter(one => !one.voter && before.get(one.incarnation)?.voter === true))
  }
  return Object.values(change).every(ids => ids.length === 0) ? null : change
}

function describe(change) {
  const parts = Object.entries(change).filter(([, ids]) => ids.length > 0)
  return `members: ${parts.map(([what, ids]) => `${what}: ${ids.join(', ')}`).join('; ')}`
}

module.exports = { MembershipWatch }
