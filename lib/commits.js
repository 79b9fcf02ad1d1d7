// Lets an application iterate over the committed actions: `for await (const { action, index, at } of node.commits())`.
//
// Used by replicated-state.js. Nothing is queued for an iterator: it reads later what it has missed from the core's
// log, as far as that reaches back. An iterator that is never read costs nothing.

'use strict'

const { listen, reasonOf, unlisten } = require('./aborts')
const { callOptions } = require('./call-options')
const { Deferred } = require('./deferred')
const { Promise } = require('./environment')
const errors = require('./errors')

/** All iterators of one node. */
class Commits {
  /** Iterators that wait for the next commit. */
  #waiting = new Set()
  #open = new Set()
  /** Iterators that begin at the first state, whose index is not known yet. */
  #unset = new Set()
  #log

  /**
   * @param reducedIndex gives the index up to where an iterator may go.
   * @param readLog gives what the log has between two indexes: `[first index that it has, last index that was read,
   *   index, time, action, …]`; time 0: there is none.
   */
  constructor(reducedIndex, readLog) {
    this.#log = { reducedIndex, readLog }
  }

  iterate(options) {
    const reducedIndex = this.#log.reducedIndex()
    const { from, signal } = callOptions(options, ['from', 'signal'], errors.invalidArgument)
    const sets = { open: this.#open, waiting: this.#waiting, unset: this.#unset }
    const iterator = new Iterator(this.#log, from ?? reducedIndex + 1, signal, sets)
    if (from === undefined && reducedIndex === 0) this.#unset.add(iterator)
    this.#open.add(iterator)
    iterator.begin()
    return iterator
  }

  /** Everything up to `index` is reduced; `action` is what is there, or undefined, and `at` its time, or undefined. */
  notify(index, action, at) {
    if (this.#unset.size > 0) this.#set(action === undefined ? index + 1 : index)
    if (this.#waiting.size === 0) return
    for (const iterator of [...this.#waiting]) iterator.committed(index, action, at)
  }

  #set(position) {
    for (const iterator of this.#unset) iterator.position = position
    this.#unset.clear()
  }

  /** @param error undefined if nothing went wrong. */
  end(error) {
    for (const iterator of [...this.#open]) iterator.end(error)
  }
}

const DONE = Object.freeze({ done: true, value: undefined })

class Iterator {
  /** The index that is to be read next. */
  position
  #log
  #signal
  #sets
  /** What was read from the log and not yet taken: `index, time, action, …`, from `#taken` on. */
  #chunk = []
  #taken = 0
  /** Calls of `next` that wait, in order. */
  #calls = []
  #hasEnded = false
  /** Why it ended; the next call of `next` throws it, once. */
  #error = undefined

  constructor(log, from, signal, sets) {
    this.#log = log
    this.position = from
    this.#signal = signal
    this.#sets = sets
  }

  begin() {
    if (this.#signal?.aborted) this.aborted(this.#signal)
    else if (this.#signal !== undefined) listen(this.#signal, this)
  }

  [Symbol.asyncIterator]() {
    return this
  }

  next() {
    const call = new Deferred()
    this.#calls.push(call)
    if (this.#calls.length === 1) this.#serve()
    return call.promise
  }

  return() {
    this.end(undefined)
    this.#error = undefined
    return Promise.resolve(DONE)
  }

  aborted(signal) {
    this.end(errors.aborted('iterating over commits', undefined, reasonOf(signal)))
  }

  end(error) {
    if (this.#hasEnded) return
    this.#hasEnded = true
    this.#error = error
    this.#chunk = []
    this.#sets.open.delete(this)
    this.#sets.unset.delete(this)
    this.#sets.waiting.delete(this)
    if (this.#signal !== undefined) unlisten(this.#signal, this)
    this.#serve()
  }

  committed(index, action, at) {
    if (index !== this.position || action === undefined) return this.#serve()
    this.position = index + 1
    this.#calls.shift().resolve({ done: false, value: { action, index, at } })
    this.#serve()
  }

  /** Answers the calls that can be answered; for the others, it waits. */
  #serve() {
    while (this.#calls.length > 0) {
      const answer = this.#hasEnded ? this.#last() : this.#take()
      if (answer === undefined && !this.#hasEnded) break
      if (answer !== undefined) this.#calls.shift().resolve(answer)
    }
    if (this.#calls.length > 0) this.#sets.waiting.add(this)
    else this.#sets.waiting.delete(this)
  }

  #last() {
    const error = this.#error
    if (error === undefined) return DONE
    this.#error = undefined
    this.#calls.shift().reject(error)
    return undefined
  }

  /** The next commit, if it is reduced. */
  #take() {
    if (this.#taken === this.#chunk.length && !this.#read()) return undefined
    const index = this.#chunk[this.#taken++]
    const at = this.#chunk[this.#taken++]
    const action = this.#chunk[this.#taken++]
    return { done: false, value: { action, index, at: at === 0 ? undefined : at } }
  }

  /** Reads on in the log, as far as it is reduced. Returns whether something is there. */
  #read() {
    this.#chunk = []
    this.#taken = 0
    while (this.#chunk.length === 0 && this.position <= this.#log.reducedIndex()) {
      const [firstIndex, readIndex, ...chunk] = this.#log.readLog(this.position, this.#log.reducedIndex())
      if (this.position < firstIndex) {
        this.end(errors.compacted(this.position, firstIndex))
        return false
      }
      this.position = readIndex + 1
      this.#chunk = chunk
    }
    return this.#chunk.length > 0
  }
}

module.exports = { Commits }
