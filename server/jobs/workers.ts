import type { Context } from '#core/context.ts'
import type { JobDefinition, Module, Worker } from '#core/module.ts'
import { createJobRunner } from './job-runner.ts'
import { createScheduler } from './schedules.ts'
import { createWakeListener } from './wake-others.ts'

/** The loops that run all modules' jobs. @throws when two jobs have one name. */
export function createJobWorkers(context: Context, modules: readonly Module[]): readonly Worker[] {
  const definitions = new Map<string, JobDefinition>()
  for (const definition of modules.flatMap((module) => module.jobs ?? [])) {
    if (definitions.has(definition.name)) throw new Error(`There are two jobs named ${definition.name}.`)
    definitions.set(definition.name, definition)
  }
  return [
    createJobRunner(context, definitions),
    createScheduler(context, definitions),
    createWakeListener(context),
  ]
}
