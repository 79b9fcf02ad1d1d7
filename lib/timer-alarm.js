// Waits on the leader until the next timer is due, by the clock of the cluster.
//
// Made by evaluations.js. The core names the next time, and is notified when that time has come.

'use strict'

const { clearTimeout, setTimeout } = require('./environment')
const { TIMEOUT_MAX } = require('./timeout')

class TimerAlarm {
  #now
  #isDue
  #due = null
  #timeout = undefined
  #wake = () => this.#check()

  /**
   * @param now gives the time of the cluster.
   * @param isDue called with the time once it has reached that of the timer.
   */
  constructor(now, isDue) {
    this.#now = now
    this.#isDue = isDue
  }

  /** The next timer is due then; null: there is none. */
  set(due) {
    this.#due = due
    this.#check()
  }

  #check() {
    if (this.#timeout !== undefined) clearTimeout(this.#timeout)
    this.#timeout = undefined
    if (this.#due === null) return
    const time = this.#now()
    if (time < this.#due) {
      // The clock may run slower than time: then it is checked again.
      this.#timeout = setTimeout(this.#wake, Math.min(this.#due - time, TIMEOUT_MAX))
      this.#timeout.unref()
    } else {
      this.#due = null
      this.#isDue(time)
    }
  }
}

module.exports = { TimerAlarm }
