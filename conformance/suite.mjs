// Runs the suite against a proxy and prints what it thinks of each test, as JSON; or runs one test and
// prints what was sent and received. With several proxies, the requests of each test take turns.
//
// node suite.mjs PACKAGE BASE_URL[,BASE_URL…] [TEST_ID]

import { pathToFileURL } from 'node:url'

const [folder, list, only] = process.argv.slice(2)
const proxies = list.split(',')
const part = path => import(pathToFileURL(`${folder}/${path}`))
const { runTests, getResults } = await part('client/runner.mjs')
const { determineTestResult } = await part('lib/display.mjs')
const { default: fetch } = await part('../node-fetch/lib/index.mjs')
const { default: suites } = await part('tests/index.mjs')

// The symbols of the suite, in words. Those of `check` tests are neither good nor bad.
const WORDS = new Map([
  ['✅', 'pass'], ['⛔️', 'fail'], ['⚠️', 'fail'], ['Y', 'yes'], ['N', 'no'], ['⚪️', 'dependency'],
  ['🔹', 'setup'], ['↻', 'retry'], ['⁉️', 'harness'], ['-', 'untested']
])

const chosen = suites
  .map(suite => ({ ...suite, tests: suite.tests.filter(test => !test.browser_only && (!only || test.id === only)) }))
  .filter(suite => suite.tests.length > 0)
if (chosen.length === 0) throw new Error(`no test for proxies is called ${only}`)
const turns = new Map()
if (only) chosen[0].tests[0].dump = true // the suite's own switch for telling all

await runTests(chosen, inTurns, false, proxies[0])
const results = getResults()
const judged = chosen.flatMap(suite => suite.tests.map(test => ({
  id: test.id,
  name: test.name,
  group: suite.id,
  kind: test.kind ?? 'required',
  needs: test.depends_on ?? [],
  // A test alone is judged alone; else a failed dependency makes it a failure, whatever it did.
  outcome: WORDS.get(determineTestResult(suites, test.id, results, !only)[2]),
  message: Array.isArray(results[test.id]) ? results[test.id][1] : ''
})))

const told = only
  ? `${judged[0].outcome}: ${judged[0].name}\n${judged[0].message}\n`
  : JSON.stringify(judged)
process.stdout.write(told, () => process.exit(0)) // kept connections would hold it open

/** The next proxy for this test, which takes the request for one to the first: the host is part of the key. */
function inTurns (url, init = {}) {
  const { host, pathname } = new URL(url)
  const test = pathname.split('/')[2] // its UUID
  const turn = turns.get(test) ?? 0
  turns.set(test, turn + 1)
  const next = url.replace(proxies[0], proxies[turn % proxies.length])
  return fetch(next, { ...init, headers: [...init.headers ?? [], ['Host', host]] })
}
