// Decides whether there is time to check an action thoroughly.
//
// Called by state-check.js; `Budget` also by other parts that may use only a share of the time. All nodes of a thread
// share one event loop, and so they share this.

'use strict'

const { now, queueMicrotask } = require('./environment')

/** The share of the time for the thorough checks of all nodes of this thread. */
const SHARE = 0.01

/** The most that can be saved in a quiet time, and the budget at the start: some ten thousand small actions. */
const SAVED_MS_MAX = 250

/** Committed actions, which were checked by the leader that evaluated them, leave this much to evaluations. */
const RESERVED_MS = 100

/** This many actions in one turn of the event loop are full load, at which saved time is not used. */
const BUSY_ACTIONS = 256
const SHARE_OF_BUSY = 0.005
const SAVED_MS_MAX_OF_BUSY = 5

/**
 * The share of the time for actions that are suspicious at a quick check, because they seem to have changed nothing.
 */
const SHARE_OF_PROBES = 0.01
const SAVED_MS_MAX_OF_PROBES = 20

/** Under full load, at most one of this many actions is checked thoroughly: a machine's other processes slow down both. */
const ACTIONS_PER_CHECK_OF_BUSY = 64

/** A share of this thread's time, for all nodes in it: they share one event loop. */
class Budget {
  left
  #share
  #savedMax
  #actionsPerCheck
  #at = now()
  #actions = 0

  constructor(share, savedMax, actionsPerCheck) {
    this.#share = share
    this.#savedMax = savedMax
    this.#actionsPerCheck = actionsPerCheck
    this.left = savedMax
  }

  allows(reserved = 0) {
    if (++this.#actions % this.#actionsPerCheck !== 0) return false
    if (this.left > reserved) return true
    this.#refill(now())
    return this.left > reserved
  }

  /** Spends the time since `start`, at most `msMax`: the rest belongs to the reducer or to another process. */
  spend(start, msMax = Infinity) {
    const time = now()
    this.left -= Math.min(time - start, msMax)
    this.#refill(time)
  }

  #refill(time) {
    // A replaced clock may stand still or go back.
    this.left = Math.min(this.#savedMax, this.left + Math.max(0, time - this.#at) * this.#share)
    this.#at = time
  }
}

const budgets = {
  calm: new Budget(SHARE, SAVED_MS_MAX, 1),
  busy: new Budget(SHARE_OF_BUSY, SAVED_MS_MAX_OF_BUSY, ACTIONS_PER_CHECK_OF_BUSY),
  probes: new Budget(SHARE_OF_PROBES, SAVED_MS_MAX_OF_PROBES, 1)
}

/** How many actions this thread reduced in this turn of its event loop, and in the one before; and what comes after. */
const turn = { actions: 0, before: 0, rest: [] }

function endTurn() {
  turn.before = turn.actions
  turn.actions = 0
  if (turn.rest.length === 0) return
  const { rest } = turn
  turn.rest = []
  for (const callback of rest) callback()
}

/** Calls it when all actions of this turn are reduced. Only while one is. */
function afterTurn(callback) {
  turn.rest.push(callback)
}

/** The budget of a method's call. */
function budgetOfCall() {
  return turn.before > BUSY_ACTIONS || turn.actions > BUSY_ACTIONS ? budgets.busy : budgets.calm
}

/** The budget of an action. Counts it. */
function budgetOfAction() {
  if (turn.actions === 0) queueMicrotask(endTurn)
  turn.actions++
  return budgetOfCall()
}

module.exports = { Budget, afterTurn, budgetOfAction, budgetOfCall, budgets, RESERVED_MS }
