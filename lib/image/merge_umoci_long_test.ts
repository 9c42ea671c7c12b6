/**
 * As `merge_umoci_test.ts`, several hundred times.
 *
 * @module
 */
import { tryStacks } from "../../testdata/compare_umoci.ts";

Deno.test("indexLayers() and buildSquashfs() merge 400 random stacks as umoci does", () => tryStacks(400));
