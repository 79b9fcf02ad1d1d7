// mutex.js: the API of mutex-js (2016), on the locks of conflux/recipes
//
//   const mutex = require('./mutex')
//   const m = mutex({ id: 'a', strategy: { name: 'raft', clusterSize: 3, channel: { name: 'redis' } } })
//   const lock = await m.lock('invoice 7', { duration: 1000, maxWait: 5000 })
//   if (lock.isValidForDuration(1000)) …
//   await m.unlock(lock)
//
// Run alone (node examples/mutex.js), three nodes in one process increment a value that only has `get` and `set`.
const conflux = require('conflux')
const { compose, locks } = require('conflux/recipes')

const recipes = compose({ locks: locks() })

/** What `lock` resolves with. */
class Lock {
  #lock

  constructor(lock) {
    this.#lock = lock
  }

  getKey() {
    return this.#lock.key
  }

  /** When the lock expires, in milliseconds since 1970. */
  getTTL() {
    return this.#lock.getTTL()
  }

  isValidForDuration(duration) {
    return this.#lock.isValidForDuration(duration)
  }

  /** New: a resource that compares it refuses an owner whose lock has passed on. */
  get token() {
    return this.#lock.token
  }

  release() {
    return this.#lock.release()
  }
}

class Mutex {
  #node
  #locks
  #unlockTimeout
  #isClosed = false

  constructor({ id, clusterSize, channel, unlockTimeout = 5000 }) {
    this.id = id
    this.#node = conflux({ id, clusterSize, channel, ...recipes })
    this.#locks = locks.client(this.#node, 'locks')
    this.#unlockTimeout = unlockTimeout
  }

  lock(key, options, callback) {
    if (typeof options === 'function') [options, callback] = [undefined, options]
    return answer(this.#lock(key, options ?? {}), callback)
  }

  async #lock(key, { duration = 10000, maxWait = 5000 }) {
    if (this.#isClosed) throw new Error('This instance has been closed')
    const faults = [faultOf('duration', duration), faultOf('maxWait', maxWait)].filter(Boolean)
    if (faults.length > 0) throw `Invalid options: ${faults.join(', ')}` // a string, as in mutex-js
    try {
      // The lease is longer, so that the lock is still valid for the duration once it is here.
      const lease = Math.max(duration + 2000, duration * 1.5)
      // A wait of 0 would be without a limit as long as there is no leader.
      return new Lock(await this.#locks.acquire(key, { duration: lease, maxWait: Math.max(maxWait, 1) }))
    } catch (error) {
      if (error.code !== 'ERR_CONFLUX_LOCK_TIMEOUT') throw error
      throw new Error('The lock could not be granted in time', { cause: error })
    }
  }

  unlock(lock, callback) {
    return answer(this.#unlock(lock), callback)
  }

  async #unlock(lock) {
    if (this.#isClosed) throw new Error('This instance has been closed')
    if (!(lock instanceof Lock)) throw 'unlock() expects the Lock object returned from lock()'
    let timer
    const late = new Promise((_, reject) => {
      timer = setTimeout(reject, this.#unlockTimeout, new Error('The lock could not be released in time'))
    })
    // The release itself goes on, and frees the lock as soon as it can.
    await Promise.race([lock.release(), late]).finally(() => clearTimeout(timer))
  }

  close(callback) {
    this.#isClosed = true
    return answer(this.#node.close(), callback)
  }
}

function faultOf(name, value) {
  if (typeof value !== 'number') return `"${name}" must be a number`
  return value >= 0 ? undefined : `"${name}" must be larger than or equal to 0`
}

function answer(promise, callback) {
  if (typeof callback !== 'function') return promise
  promise.then(value => callback(null, value), callback)
}

module.exports = function mutex({ id, strategy } = {}) {
  if (typeof id !== 'string') throw new Error('Invalid options: "id" is required')
  if (strategy?.name !== 'raft') throw new Error('Invalid options: "strategy.name" must be "raft"')
  const { name, ...options } = strategy
  return new Mutex({ id, ...options })
}

async function main() {
  const channel = { name: 'memory', channelName: 'mutex-example' }
  const nodes = ['a', 'b', 'c'].map(id =>
    module.exports({ id, strategy: { name: 'raft', clusterSize: 3, channel } })
  )
  let stored = 0
  const get = async () => stored
  const set = async value => void (stored = value)
  await Promise.all(
    Array.from({ length: 30 }, async (_, i) => {
      const node = nodes[i % 3]
      const lock = await node.lock('counter', { duration: 1000, maxWait: 10000 })
      if (!lock.isValidForDuration(1000)) throw new Error('the lock came too late')
      await set((await get()) + 1)
      await node.unlock(lock)
    })
  )
  console.log(`30 increments by three nodes: ${stored}`)
  if (stored !== 30) process.exitCode = 1
  await Promise.all(nodes.map(node => node.close()))
}

if (require.main === module) main()
