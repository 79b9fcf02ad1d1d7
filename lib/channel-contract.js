// The contract of a custom channel, as tests for the runner of the application (`channelContract` of `conflux/testing`).
//
// Called by testing.js. A channel may lose, repeat, delay and reorder frames: each statement sends a frame until it has
// arrived. It must never alter a frame, nor hand it to a node that it is not for. src/channel/contract.rs states the same of
// conflux's own channels, which lose nothing while all is well.

'use strict'

const { isUint8Array } = require('node:util').types
const { Buffer, Promise, now, setTimeout } = require('./environment')
const errors = require('./errors')
const { kindOf } = require('./kind')

/** Less than the 5 s that Jest and Vitest give a test: a reason is worth more than their message. */
const PATIENCE_MS_DEFAULT = 4000
const REPEAT_MS = 10
/** For how long a frame may still arrive that must not. */
const GRACE_MS = 50

/** The largest frame of conflux has little more than a call's arguments, 1 MiB. */
const LARGE_BYTES = 2 << 20
const BURST = 300

const STATEMENTS = {
  'a frame to one node is heard by that node alone': async place => {
    const [one, two, three] = await place.open('one', 'two', 'three')
    const [toTwo, toAll] = [Buffer.from('to two'), Buffer.from('to all')]
    await place.until('a frame to one and a frame to all arrive', () => {
      one.send('two', toTwo)
      one.broadcast(toAll)
      return two.has(toTwo) && two.has(toAll) && three.has(toAll)
    })
    await place.grace()
    two.hasOnly([toTwo, toAll])
    three.hasOnly([toAll])
    one.hasOnly([])
  },

  'a frame to all is heard by all but its sender': async place => {
    const [one, two, three] = await place.open('one', 'two', 'three')
    const [toAll, back] = [Buffer.from('to all'), Buffer.from('back')]
    await place.until('a frame to all arrives', () => {
      one.broadcast(toAll)
      return two.has(toAll) && three.has(toAll)
    })
    await place.until('a frame arrives at the first node', () => {
      two.send('one', back)
      return one.has(back)
    })
    await place.grace()
    one.hasOnly([back])
  },

  'channels apart do not hear one another': async place => {
    if (place.elsewhere === undefined) return
    const [one, two] = await place.open('one', 'two')
    // The same names on purpose: not even a frame to one crosses.
    const [otherOne, otherTwo] = await place.openElsewhere('one', 'two')
    const [here, there] = [Buffer.from('here'), Buffer.from('there')]
    await place.until('frames arrive on both channels', () => {
      one.broadcast(here)
      one.send('two', here)
      otherOne.broadcast(there)
      otherOne.send('two', there)
      return two.has(here) && otherTwo.has(there)
    })
    await place.grace()
    for (const [member, frames] of [
      [one, []],
      [two, [here]],
      [otherOne, []],
      [otherTwo, [there]]
    ]) {
      member.hasOnly(frames)
    }
  },

  'a frame arrives as it was sent, up to 2 MiB': async place => {
    const [one, two] = await place.open('one', 'two')
    const frames = []
    for (const bytes of [1, 256, 65_536, LARGE_BYTES]) {
      for (const what of ['send', 'broadcast']) {
        const frame = patternOf(bytes, what.length)
        frames.push(frame)
        let sent = -Infinity
        await place.until(`a frame of ${bytes} bytes arrives (${what})`, () => {
          // A large one takes its time.
          if (now() - sent > REPEAT_MS + bytes / 10_000) {
            sent = now()
            if (what === 'send') one.send('two', frame)
            else one.broadcast(frame)
          }
          two.hasOnly(frames)
          return two.has(frame)
        })
      }
    }
  },

  'frames that are sent at once arrive apart': async place => {
    const [one, two] = await place.open('one', 'two')
    const frames = Array.from({ length: BURST }, (_, i) => patternOf(1 + ((i * 37) % 3000), i))
    await place.until(`${BURST} frames arrive`, () => {
      const missing = frames.filter(frame => !two.has(frame))
      missing.forEach((frame, i) => (i % 2 === 0 ? one.send('two', frame) : one.broadcast(frame)))
      return missing.length === 0
    })
    two.hasOnly(frames)
  },

  'a node that has left hears nothing, and the others continue': async place => {
    const [one, two, three] = await place.open('one', 'two', 'three')
    const [before, after] = [Buffer.from('before'), Buffer.from('after')]
    await place.until('a frame to all arrives', () => {
      one.broadcast(before)
      return two.has(before) && three.has(before)
    })
    await two.close()
    await place.until('a frame to all arrives at those that are left', () => {
      one.send('two', after)
      one.broadcast(after)
      return three.has(after)
    })
    await place.grace()
    two.hasOnly([before])
  },

  'a node that leaves while it sends garbles nothing': async place => {
    const [one, two, three] = await place.open('one', 'two', 'three')
    const frames = Array.from({ length: BURST }, (_, i) => patternOf(1 + ((i * 41) % 3000), i))
    for (const frame of frames) one.broadcast(frame)
    await one.close()
    const last = Buffer.from('from another node')
    await place.until('a frame of another node arrives', () => {
      three.send('two', last)
      return two.has(last)
    })
    await place.grace()
    two.hasOnly([...frames, last])
  },

  'a node that has left joins again, under its former name or a new one': async place => {
    const [one, two] = await place.open('one', 'two')
    await two.close()
    const [again, other] = await place.open('two', 'another')
    const [toAgain, toOther, answer] = ['to two', 'to another', 'answer'].map(text => Buffer.from(text))
    await place.until('frames to and from the nodes that have joined arrive', () => {
      one.send('two', toAgain)
      one.send('another', toOther)
      again.send('one', answer)
      return again.has(toAgain) && other.has(toOther) && one.has(answer)
    })
    again.hasOnly([toAgain])
    other.hasOnly([toOther])
  }
}

/**
 * Registers one test for each statement.
 *
 * @param makeVenue called for each: `{ join, elsewhere, close }`, or a promise of that.
 * @param options.test of the runner: `test(name, run)`.
 */
function channelContract(makeVenue, options) {
  const { test, timeout = PATIENCE_MS_DEFAULT, ...unknown } = options ?? {}
  for (const key of Object.keys(unknown)) {
    throw errors.invalidArgument(`\`channelContract\`: the option "${key}" is unknown`)
  }
  if (typeof makeVenue !== 'function') {
    throw errors.invalidArgument(
      `\`channelContract\` takes a function that makes a venue, got ${kindOf(makeVenue)}`
    )
  }
  if (typeof test !== 'function') {
    throw errors.invalidArgument(
      '`channelContract` needs the function `test` of your test runner: `{ test }`'
    )
  }
  for (const [statement, hold] of Object.entries(STATEMENTS)) {
    test(`channel: ${statement}`, () => run(makeVenue, hold, timeout))
  }
}

async function run(makeVenue, hold, patience) {
  const place = new Place(await makeVenue(), patience)
  try {
    await hold(place)
    place.throwFault()
  } finally {
    await place.close()
  }
}

/** Where a statement is tried. */
class Place {
  elsewhere
  #join
  #close
  #end
  #patience
  #members = []

  constructor(venue, patience) {
    const { join, elsewhere, close } = venue ?? {}
    if (typeof join !== 'function') throw new Error('the venue has no function `join`')
    this.#join = join
    this.elsewhere = elsewhere
    this.#close = () => close?.call(venue)
    this.#patience = patience
    this.#end = now() + patience
  }

  open(...names) {
    return this.#open(this.#join, names)
  }

  openElsewhere(...names) {
    return this.#open(this.elsewhere, names)
  }

  async #open(join, names) {
    const opened = names.map(name => new Member(name))
    this.#members.push(...opened)
    let isDone = false
    let failure = null
    Promise.all(opened.map(member => member.join(join))).then(
      () => (isDone = true),
      error => (failure = error)
    )
    await this.until('`join`, and the promise `ready` of what it returns', () => {
      if (failure !== null) throw failure
      return isDone
    })
    return opened
  }

  /** Until it holds; each attempt sends again, because a channel may lose frames. */
  async until(what, holds) {
    for (;;) {
      const isDone = holds()
      this.throwFault()
      if (isDone) return
      if (now() > this.#end) throw new Error(`${what}: not within ${this.#patience} ms`)
      await delay(REPEAT_MS)
    }
  }

  async grace() {
    await delay(GRACE_MS)
    this.throwFault()
  }

  throwFault() {
    for (const { fault } of this.#members) if (fault !== null) throw fault
  }

  async close() {
    await Promise.all(this.#members.map(member => member.close()))
    await this.#close()
    this.throwFault()
  }
}

/** One that has joined the channel. */
class Member {
  fault = null
  #name
  #joined = null
  /** The frames that it heard, by their bytes. */
  #heard = new Map()
  #hasClosed = false

  constructor(name) {
    this.#name = name
  }

  async join(join) {
    const joined = await join(this.#name, frame => this.#hear(frame), noop)
    for (const name of ['send', 'broadcast', 'close']) {
      if (typeof joined?.[name] !== 'function') throw new Error(`\`join\` returned no function \`${name}\``)
    }
    if (this.#hasClosed) joined.close()
    else this.#joined = joined
    await joined.ready
  }

  #hear(frame) {
    if (!isUint8Array(frame))
      this.#fail(`\`deliver\` was called with ${kindOf(frame)} instead of a Uint8Array`)
    // What arrives later is ignored by a node, too.
    else if (!this.#hasClosed) this.#heard.set(keyOf(frame), Buffer.from(frame))
  }

  send(to, frame) {
    this.#call('send', to, frame)
  }

  broadcast(frame) {
    this.#call('broadcast', frame)
  }

  async close() {
    if (this.#hasClosed) return
    this.#hasClosed = true
    await this.#call('close')
  }

  /** What is thrown is a fault: nothing has failed here. */
  async #call(what, ...args) {
    try {
      await this.#joined?.[what](...args)
    } catch (error) {
      this.#fail(`\`${what}\` threw: ${errors.messageOf(error)}`, error)
    }
  }

  #fail(text, cause) {
    this.fault ??= new Error(`node "${this.#name}": ${text}`, { cause })
  }

  has(frame) {
    return this.#heard.has(keyOf(frame))
  }

  /** No other frame: one that was altered is another one. */
  hasOnly(frames) {
    const known = new Set(frames.map(keyOf))
    for (const [key, frame] of this.#heard) {
      if (known.has(key)) continue
      const shown = frame.length > 32 ? `${frame.length} bytes` : JSON.stringify(frame.toString('latin1'))
      throw new Error(`node "${this.#name}" heard a frame that was not sent to it: ${shown}`)
    }
  }
}

const noop = () => {}

const delay = ms => new Promise(resolve => setTimeout(resolve, ms))

const keyOf = frame => Buffer.from(frame).toString('latin1')

/** Every value of a byte, and no two frames alike. */
function patternOf(bytes, seed) {
  const frame = Buffer.alloc(bytes)
  for (let i = 0; i < bytes; i++) frame[i] = (i * 7 + (i >> 8) + seed) & 0xff
  return bytes < 4 ? frame : (frame.writeUInt32LE(seed), frame)
}

module.exports = { channelContract }
