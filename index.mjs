/** Gives `import conflux, { isPerformError } from 'conflux'` the same functions, and the same native addon, as `require`. */
import conflux from './index.js'

export default conflux

export const { isPerformError } = conflux
