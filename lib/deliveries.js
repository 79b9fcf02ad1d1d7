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

/** Tells `node` each delivery, in order, until all are told or the node has ended. */
function read(text, node) {
  const items = JSON.parse(text)
  for (let i = 0; i < items.length && !node.hasEnded;) {
    switch (items[i++]) {
      case ROLE:
        node.role(items[i++], items[i++], items[i++])
        break
      case RESET_PROVISIONAL:
        node.resetProvisional()
        break
      case EVALUATE:
        node.evaluate(items[i++], items[i++])
        break
      case COMMITTED_PROVISIONAL:
        node.committedProvisional(items[i++])
        break
      case COMMITTED_PROVISIONAL_OWN:
        node.committedProvisional(items[i++])
        node.resolve(items[i++], items[i++])
        break
      case COMMITTED:
        node.committed(items[i++], items[i++])
        break
      case COMMITTED_OWN: {
        const index = items[i++]
        const sequence = items[i++]
        const action = items[i++]
        const copy = items[i++]
        node.committed(index, action)
        node.resolve(sequence, copy === 0 ? action : copy)
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
      default:
        throw new Error(`no kind of delivery: ${items[i - 1]}`)
    }
  }
}

module.exports = { read }
