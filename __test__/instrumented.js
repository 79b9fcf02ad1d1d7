/**
 * Loads lib/ so that any step of it can be made to fail.
 *
 * A step is what an engine can interrupt: a call, the begin of a function, a turn of a loop. The end of the stack and the
 * time limit of a `vm` script strike nowhere else; assignments in a row are not torn apart.
 */
'use strict'

const fs = require('node:fs')
const path = require('node:path')
const vm = require('node:vm')
const ts = require('typescript')

const LIB = path.join(__dirname, '..', 'lib')

/** Of Node, not of ours: calls of its functions are steps, what they do inside is not. */
const FOREIGN = new Set(['deferred.js', 'environment.js', 'native.js'])

/** @param step called before each step of the files that are loaded. */
function load(step) {
  const loaded = new Map()
  const requireFrom = name => (name.startsWith('./') ? file(`${name.slice(2)}.js`) : require(name))
  const file = name => {
    if (FOREIGN.has(name)) return require(path.join(LIB, name))
    if (!loaded.has(name)) {
      const module = { exports: {} }
      loaded.set(name, module)
      const text = withSteps(fs.readFileSync(path.join(LIB, name), 'utf8'), name)
      const parameters = ['require', 'module', '__step']
      vm.compileFunction(text, parameters, { filename: path.join(LIB, name) })(requireFrom, module, step)
    }
    return loaded.get(name).exports
  }
  const { Node } = file('node.js')
  const options = file('options.js')
  const { open } = require(path.join(LIB, 'native.js'))
  return given => {
    step()
    return new Node(options.check(given), open).handle
  }
}

function withSteps(text, name) {
  const source = ts.createSourceFile(name, text, ts.ScriptTarget.ESNext, true, ts.ScriptKind.JS)
  const { transformed } = ts.transform(source, [context => root => ts.visitNode(root, visitor(context))])
  return ts.createPrinter().printFile(transformed[0])
}

function visitor(context) {
  const { factory } = context
  const step = () => factory.createCallExpression(factory.createIdentifier('__step'), undefined, [])
  const statement = () => factory.createExpressionStatement(step())
  const before = node => factory.createParenthesizedExpression(factory.createComma(step(), node))
  const begin = block => factory.updateBlock(block, [statement(), ...block.statements])
  const children = node => ts.visitEachChild(node, visit, context)
  /** What stands before the `(` of a call: not itself a step, and a chain of `?.` is not torn apart. */
  const callee = node => (ts.isOptionalChain(node) || ts.isPrivateIdentifier(node) ? node : children(node))

  function visit(node) {
    if (ts.isCallExpression(node)) {
      if (node.expression.kind === ts.SyntaxKind.SuperKeyword || node.expression.getText() === 'require')
        return node
      const args = node.arguments.map(argument => ts.visitNode(argument, visit))
      if (ts.isOptionalChain(node))
        return before(factory.updateCallChain(node, node.expression, node.questionDotToken, undefined, args))
      return before(factory.updateCallExpression(node, callee(node.expression), undefined, args))
    }
    if (ts.isNewExpression(node)) return before(children(node))
    const visited = children(node)
    if (ts.isArrowFunction(visited) && !ts.isBlock(visited.body)) {
      const body = before(visited.body)
      return factory.updateArrowFunction(
        visited,
        visited.modifiers,
        undefined,
        visited.parameters,
        undefined,
        visited.equalsGreaterThanToken,
        body
      )
    }
    const isFunction = ts.isFunctionLike(node) || ts.isIterationStatement(node, false)
    return isFunction
      ? ts.visitEachChild(visited, child => (ts.isBlock(child) ? begin(child) : child), context)
      : visited
  }
  return visit
}

module.exports = { load }
