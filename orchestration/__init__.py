"""What runs beside the template: `chain/` launches jobs of Dataflow one after the other, by a Cloud Function."""
