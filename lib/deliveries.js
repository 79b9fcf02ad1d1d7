// This file reads a batch of the core: one flat array, a kind and what belongs to it, one after the other.
//
// Written by src/js/batch.rs, which says what each kind is followed by.

'use strict'

const ROLE = 0
const RESET_PROVISIONAL = 1
const EVALUATE = 2
const COMMITTED_PROVISIONAL = 3
const COMMITTED_PROVISIONAL_OWN = 4
const COMMITTED = 5
const COMMITTED_OWN = 6
const SETTLED_NOTHING = 7
const SETTLED_REFUSED = 8
const SETTLED_FAILED = 9
const WARNING = 10
const STOPPED = 11
const TAKE_SNAPSHOT = 12
const RESTORE = 13
const HASH = 14
const REPLAYED = 15
const ASKED = 16
const ASKED_FAILED = 17
const FENCED = 18
const HEALED = 19
const SETTLED_DONE = 20
/** That it is answered is all that is asked. */
const WAKE = 21

/**
 * Tells `node`, and `replica` of what is about its state, each delivery, in order, until all are told or the node has
 * ended. `states` are those to restore.
 */
function read(text, states, node, replica) {
  const items = JSON.parse(text)
  for (let i = 0; i < items.length && !node.hasEnded;) {
    switch (items[i++]) {
      case ROLE:
        node.role(items[i++], items[i++], items[i++])
        break
      case RESET_PROVISIONAL:
        replica.dropProvisional()
        break
      case EVALUATE:
        node.evaluate(items[i++], items[i++])
        break
      case COMMITTED_PROVISIONAL:
        replica.commitOldest()
        break
      case COMMITTED_PROVISIONAL_OWN: {
        const isReduced = replica.commitOldest()
        node.performed(items[i++], items[i++], isReduced)
        break
      }
      case COMMITTED:
        replica.commit(items[i++], items[i++])
        break
      case COMMITTED_OWN: {
        const index = items[i++]
        const sequence = items[i++]
        const action = items[i++]
        const copy = items[i++]
        const isReduced = replica.commit(index, action)
        node.performed(sequence, copy === 0 ? action : copy, isReduced)
        break
      }
      case SETTLED_NOTHING:
        node.resolve(items[i++], undefined)
        break
      case SETTLED_REFUSED:
        node.refused(items[i++], items[i++])
        break
      case SETTLED_FAILED:
        node.failed(items[i++], items[i++], items[i++], items[i++])
        break
      case WARNING:
        node.warning(items[i++], items[i++], items[i++])
        break
      case STOPPED:
        node.stopped(items[i++], items[i++])
        break
      case TAKE_SNAPSHOT:
        node.takeSnapshot()
        break
      case RESTORE: {
        const index = items[i++]
        const position = items[i++]
        if (position === null) replica.restoreInitial(index)
        else replica.restore(index, states[position])
        break
      }
      case HASH:
        node.hash(items[i++])
        break
      case REPLAYED:
        node.replayed()
        break
      case ASKED:
        node.asked(items[i++])
        break
      case ASKED_FAILED:
        node.askedInVain(items[i++], items[i++], items[i++])
        break
      case FENCED:
        node.fenced(items[i++], items[i++], items[i++])
        break
      case WAKE:
        break
      case HEALED:
        node.healed()
        break
      case SETTLED_DONE:
        node.resolve(items[i++], items[i++])
        break
      default:
        throw new Error(`no kind of delivery: ${items[i - 1]}`)
    }
  }
}

module.exports = { read }
