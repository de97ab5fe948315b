// What flags need of settings, for `import()`: of the whole package a bundler could leave nothing out.
export { nearestName, parseSize } from "@damselfly/settings";
