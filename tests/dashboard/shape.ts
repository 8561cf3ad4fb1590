/**
 * The shape of docs/grafana.json: Grafana's own schema of dashboards, and of the panels that ours has.
 * A test puts the file beside this one as a constant of this type, and has it checked.
 */
import type { Dashboard, Panel } from '@grafana/schema';
import type * as stat from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type * as timeline from '@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen';
import type * as series from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

/** As JSON has it: enumerations are their values. */
type Json<T> = T extends string
  ? `${T}`
  : T extends object
    ? { [K in keyof T]: Json<T[K]> }
    : T;

/** What the editor of the Prometheus data source stores; its types are not in the schema's package. */
interface Query {
  refId: string;
  datasource: { type: 'prometheus'; uid: '${datasource}' };
  editorMode: 'code';
  expr: string;
  legendFormat: string;
  range: boolean;
  instant: boolean;
}

type Of<Type extends string, Options, Custom> = Omit<Json<Panel>, 'type' | 'options' | 'fieldConfig' | 'targets'> & {
  type: Type;
  targets: Query[];
  options: Json<Options>;
  fieldConfig: Omit<Json<NonNullable<Panel['fieldConfig']>>, 'defaults'> & {
    defaults: Omit<Json<NonNullable<Panel['fieldConfig']>['defaults']>, 'custom'> & { custom?: Json<Custom> };
  };
};

export type Redlatch = Omit<Json<Dashboard>, 'panels'> & {
  panels: (
    | Of<'stat', stat.Options, never>
    | Of<'timeseries', series.Options, series.FieldConfig>
    | Of<'state-timeline', timeline.Options, timeline.FieldConfig>
  )[];
};
