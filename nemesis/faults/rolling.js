/** This file is the fault: every process in turn gets a SIGTERM, closes its node, and is started again. */
'use strict'

async function strike({ cluster, random, note }) {
  const victims = random.shuffle(cluster.living)
  note({ victims: victims.length })
  for (const victim of victims) {
    await victim.terminate()
    if (victim.exit !== 0) throw new Error(`${victim.origin} ended with ${victim.exit} after SIGTERM`)
    cluster.start(victim.id)
    await cluster.whole()
  }
}

module.exports = { name: 'rolling', strike, endsProcesses: true }
