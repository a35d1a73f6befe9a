/** What the rest of Cordon uses of policies. */
export type { ActionName, GitPushAction, PolicyAction, PushDependencies } from './action.ts';
export { cedar as warmPolicyEngine } from './cedar.ts';
export { compilePolicy, type PolicyInput, type Source, testPolicy } from './compile.ts';
export { decide } from './decide.ts';
export type { Decision } from './decision.ts';
export {
  type AskedPackage,
  type DependencyRules,
  type RefusedPackage,
  refuseAge,
  refusePackage,
  withRefusal,
} from './dependencies.ts';
export { diffPolicies } from './diff.ts';
export type { CommandRule, EffectivePolicy } from './effective.ts';
export type { Limits } from './limits.ts';
export { type McpServer, policyOfServer, secretHost } from './mcp.ts';
export { TOOL_NAME } from './mcp-names.ts';
export type { Amounts, ModelFeature, SharedBudget } from './models.ts';
export { type HostFacts, hostFacts, mayResolve, type NetworkHost } from './network.ts';
export { canonicalPackage, canonicalVersion, type Ecosystem, sameVersion } from './packages.ts';
export { residualRisk } from './risk.ts';
export { refText } from './rule.ts';
export { ACP_TOOLS, BUILTIN_TOOLS } from './short-forms.ts';
export { subject, subjectDigest } from './subject.ts';
