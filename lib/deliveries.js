// Executes a batch of the core: one flat array of deliveries, each a kind followed by its fields.
//
// Called by inbox.js; written by src/js/batch.rs.

'use strict'

// Each kind and its fields, as in src/js/delivery_kinds.rs: a test compares them.
const ROLE = 0 // role, term, leader
const RESET_PROVISIONAL = 1 // no fields
const EVALUATE = 2 // method, args
const COMMITTED_PROVISIONAL = 3 // index
const COMMITTED_PROVISIONAL_OWN = 4 // index, sequence, action
const COMMITTED = 5 // index, action
const COMMITTED_OWN = 6 // index, sequence, action, copy
const SETTLED_NOTHING = 7 // sequence
const SETTLED_REFUSED = 8 // sequence, error
const SETTLED_FAILED = 9 // sequence, code, message, outcome
const WARNING = 10 // code, message, facts
const STOPPED = 11 // code, message
const TAKE_SNAPSHOT = 12 // index
const RESTORE = 13 // index, position
const HASH = 14 // index
const REPLAYED = 15 // no fields
const OPERATION_DONE = 16 // ticket
const OPERATION_FAILED = 17 // ticket, code, message
const DIVERGED = 18 // code, message, index
const RESTORED = 19 // no fields
const SETTLED_DONE = 20 // sequence, action
const APP_PROBE = 21 // no fields
const REPORT_PROGRESS = 22 // no fields
const CAUGHT_UP = 23 // value
const EVALUATE_SYSTEM = 24 // action
const CALLER = 25 // id, session, ended
const SESSIONS = 26 // list
const OWN_SESSION = 27 // session, previous, reason
const AT = 28 // at
const EVALUATE_TIMER = 29 // name, due, method, args, rule
const NEXT_TIMER = 30 // due
const EVALUATE_BESIDE = 31 // method, position
const COMMITTED_BESIDE = 32 // index, position
const COMMITTED_OWN_BESIDE = 33 // index, sequence, position
const SETTLED_DONE_BESIDE = 34 // sequence, position
const COMMITTED_PROVISIONAL_OWN_KEPT = 35 // index, sequence

/** The approximate length of the answers to one batch, which become one string and the core's next proposals. */
const ANSWERS_LENGTH_MAX = 1024 * 1024

/** What `read` returns: the batch is done; calls were settled; the slice of time is over; see below. */
const DONE = 0
const SETTLED = 1
const OVER = 2
/** The state is being restored: nothing may be read before it is. */
const RESTORING = 3

/** A batch and its progress. */
class Batch {
  /** Up to here everything is reduced, as far as it is known. */
  reducedIndex = 0
  /** How long the evaluations took. */
  evaluationMicros = 0
  /** Parsed when they are first read: a text is smaller. */
  #items = null
  #text
  #beside
  #next = 0
  #evaluationStart = 0
  /** Whether there is time and space for another evaluation. The core delivers the others again. */
  #mayEvaluate = true

  /** @param beside the texts that the batch refers to by their positions; null if there are none. */
  constructor(text, beside) {
    this.#text = text
    this.#beside = beside
  }

  /**
   * Passes each delivery, in order, to `target`, or to `replicatedState` if it concerns the state, until all are done, the node
   * has ended, enough calls are settled, or it is time to pause. While a state is restored, reading pauses as well.
   */
  read(target, replicatedState, slice, settledMax) {
    const items = (this.#items ??= JSON.parse(this.#text))
    this.#text = ''
    let i = this.#next
    let settled = 0
    let isOver = false
    let isRestoring = false
    while (i < items.length && settled < settledMax && !isOver && !isRestoring && !target.hasEnded) {
      switch (items[i++]) {
        case ROLE:
          target.role(items[i++], items[i++], items[i++])
          break
        case RESET_PROVISIONAL:
          replicatedState.dropProvisional()
          break
        case EVALUATE: {
          const method = items[i++]
          const args = items[i++]
          if (this.#mayEvaluate) this.#evaluate(method, args, target, slice)
          break
        }
        case EVALUATE_SYSTEM: {
          const action = items[i++]
          if (this.#mayEvaluate) this.#evaluateSystem(action, target, slice)
          break
        }
        case CALLER:
          target.evaluations.callBy(items[i++], items[i++], items[i++] === 1)
          break
        case SESSIONS:
          target.evaluations.setSessions(items[i++])
          break
        case OWN_SESSION:
          target.ownSession(items[i++], items[i++], items[i++])
          break
        case COMMITTED_PROVISIONAL:
          this.reducedIndex = items[i]
          replicatedState.commitOldest(items[i++])
          isOver = slice.isOver()
          break
        case COMMITTED_PROVISIONAL_OWN: {
          this.reducedIndex = items[i]
          const isReduced = replicatedState.commitOldest(items[i++])
          target.performed(items[i++], items[i++], isReduced)
          settled++
          isOver = slice.isOver()
          break
        }
        case COMMITTED:
          this.reducedIndex = items[i]
          replicatedState.commit(items[i++], items[i++])
          isOver = slice.isOver()
          break
        case COMMITTED_OWN: {
          const index = items[i++]
          const sequence = items[i++]
          const action = items[i++]
          const copy = items[i++]
          this.reducedIndex = index
          const isReduced = replicatedState.commit(index, action)
          target.performed(sequence, copy === 0 ? action : copy, isReduced)
          settled++
          isOver = slice.isOver()
          break
        }
        case SETTLED_NOTHING:
          target.resolve(items[i++], undefined)
          settled++
          break
        case SETTLED_REFUSED:
          target.refused(items[i++], items[i++])
          settled++
          break
        case SETTLED_FAILED:
          target.failed(items[i++], items[i++], items[i++], items[i++])
          settled++
          break
        case SETTLED_DONE:
          target.resolve(items[i++], items[i++])
          settled++
          break
        case WARNING:
          target.warning(items[i++], items[i++], items[i++])
          break
        case STOPPED:
          target.stopped(items[i++], items[i++])
          break
        case TAKE_SNAPSHOT:
          target.takeSnapshot(items[i++])
          break
        case RESTORE: {
          const index = items[i++]
          const position = items[i++]
          if (position === null) replicatedState.restoreInitial(index)
          else isRestoring = !target.restore(index, position)
          if (!isRestoring) this.reducedIndex = index
          break
        }
        case HASH:
          target.hash(items[i++])
          break
        case REPLAYED:
          target.replayed()
          break
        case OPERATION_DONE:
          target.operationDone(items[i++])
          break
        case OPERATION_FAILED:
          target.operationFailed(items[i++], items[i++], items[i++])
          break
        case DIVERGED:
          target.diverged(items[i++], items[i++], items[i++])
          break
        case RESTORED:
          target.restored()
          break
        case APP_PROBE:
          break
        case REPORT_PROGRESS:
          target.progressed(0)
          break
        case CAUGHT_UP:
          target.caughtUp(items[i++] === 1)
          break
        case EVALUATE_TIMER: {
          const timer = [items[i++], items[i++], items[i++], items[i++], items[i++]]
          if (this.#mayEvaluate) this.#evaluateTimer(timer, target, slice)
          break
        }
        case NEXT_TIMER:
          target.evaluations.nextTimer(items[i++])
          break
        case AT:
          target.evaluations.time(items[i++], slice.lastRead)
          break
        case EVALUATE_BESIDE: {
          const method = items[i++]
          const position = items[i++]
          if (this.#mayEvaluate) this.#evaluate(method, this.#parse(position), target, slice)
          break
        }
        case COMMITTED_BESIDE:
          this.reducedIndex = items[i]
          replicatedState.commit(items[i++], this.#parse(items[i++]))
          isOver = slice.isOver()
          break
        case COMMITTED_OWN_BESIDE: {
          const index = items[i++]
          const sequence = items[i++]
          const position = items[i++]
          this.reducedIndex = index
          const isReduced = replicatedState.commit(index, this.#parse(position))
          // Again: the caller may change what it gets.
          target.performed(sequence, this.#parse(position), isReduced)
          settled++
          isOver = slice.isOver()
          break
        }
        case SETTLED_DONE_BESIDE:
          target.resolve(items[i++], this.#parse(items[i++]))
          settled++
          break
        case COMMITTED_PROVISIONAL_OWN_KEPT: {
          this.reducedIndex = items[i]
          const text = replicatedState.oldestText
          const isReduced = replicatedState.commitOldest(items[i++])
          target.performed(items[i++], isReduced ? JSON.parse(text) : undefined, isReduced)
          settled++
          isOver = slice.isOver()
          break
        }
        default:
          throw new Error(`no kind of delivery: ${items[i - 1]}`)
      }
    }
    this.#next = i
    if (isRestoring) return RESTORING
    if (i === items.length) return this.#finish(slice)
    return isOver ? OVER : SETTLED
  }

  #parse(position) {
    return JSON.parse(this.#beside[position])
  }

  #evaluate(method, args, target, slice) {
    this.#begin(target, slice)
    const length = target.evaluations.evaluate(method, args)
    this.#mayEvaluate = length < ANSWERS_LENGTH_MAX && !slice.isOver()
  }

  /** The time of all evaluations is read once. */
  #begin(target, slice) {
    if (this.#evaluationStart !== 0) return
    this.#evaluationStart = slice.lastRead
    target.evaluations.begin(this.#evaluationStart)
  }

  #evaluateTimer(timer, target, slice) {
    this.#begin(target, slice)
    const length = target.evaluations.evaluateTimer(...timer)
    this.#mayEvaluate = length < ANSWERS_LENGTH_MAX && !slice.isOver()
  }

  #evaluateSystem(action, target, slice) {
    this.#begin(target, slice)
    const length = target.evaluations.evaluateSystem(action)
    this.#mayEvaluate = length < ANSWERS_LENGTH_MAX && !slice.isOver()
  }

  #finish(slice) {
    if (this.#evaluationStart !== 0) {
      this.evaluationMicros = Math.round((slice.lastRead - this.#evaluationStart) * 1000)
    }
    return DONE
  }
}

module.exports = { Batch, DONE, RESTORING, SETTLED }
